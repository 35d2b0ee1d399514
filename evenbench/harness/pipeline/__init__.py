"""End-to-end video pipelines: decode, preprocess, infer, postprocess, draw."""
