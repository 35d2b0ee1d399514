"""Recipe steps implemented with Pillow, NumPy, OpenCV and torchvision."""
