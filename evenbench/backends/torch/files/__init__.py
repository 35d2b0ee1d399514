"""Files of torch models: exported programs, TorchScript archives and AOT packages."""
