"""Whether an output is right, and how right: parity, task agreement, metrics, layer-wise
comparison.
"""
