"""PyTorch: eager, TorchScript, torch.compile and AOTInductor."""
