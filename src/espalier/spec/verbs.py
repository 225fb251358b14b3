"""What each verb does with a model: the sections of an experiment that are named after verbs."""

from __future__ import annotations

from typing import Literal

from espalier.spec.fields import Auto, BundleBackend, Device, GraphBackend, Model, OnnxBackend, knob

PredictFormat = Literal["json", "jsonl", "csv", "pictures", "video", "crops", "coco", "yolo", "label_studio", "masks"]
"""What `predict` can write."""


class CorruptionsSpec(Model):
    """Also score the model on corrupted pictures: the 15 + 4 corruptions of ImageNet-C."""

    enabled: bool = knob(False, "Also score on corrupted pictures", flag="--corruptions")
    which: tuple[str, ...] = knob(
        ("all",),
        "By name, or all | common (15) | extra (4) | noise | blur | weather | digital; means are of the common",
    )
    severities: tuple[int, ...] = knob((1, 2, 3, 4, 5), "How strong", ge=1, le=5)
    at: Literal["input", "source"] = knob(
        "input", "In whose pixels: the network's, as ImageNet-C, or the picture's own before it is resized"
    )
    baseline: str | None = knob(
        None, "A run of evaluate --corruptions on the same pictures, whose errors these are related to (mCE)"
    )
    workers: int | Auto = knob("auto", "Processes that corrupt pictures; 0 is this one alone", ge=0, le=256)
    pictures: int = knob(1, "Pictures shown under every corruption", ge=0, le=12)


class EvaluateSpec(Model):
    """Score a model on labelled pictures."""

    model: str | None = knob(None, "MODEL: a run, a checkpoint folder, a bundle folder or zip")
    data: str | None = knob(
        None, "Labelled pictures; without it the test set of the model's spec, else its validation set"
    )
    backend: GraphBackend = knob(
        "auto", "What runs the graph: onnxruntime or openvino a bundle's, torch a checkpoint's"
    )
    device: Device = knob("auto", "Where the graph runs")
    batch_size: int = knob(8, "Pictures in a batch", ge=1, le=4096)
    bootstrap: int = knob(1000, "Resamples of the pictures for the 95 % interval; 0 gives none", ge=0, le=1_000_000)
    pictures: int = knob(12, "Pictures shown of each kind of mistake", ge=0, le=1000)
    corruptions: CorruptionsSpec = knob(None, "Corrupted pictures", factory=CorruptionsSpec)


class CompareSpec(Model):
    """Is one model better than another on the same pictures?"""

    models: tuple[str, ...] = knob((), "Two or more MODELs; each is compared with the first")
    data: str | None = knob(None, "Labelled pictures; without it the test set of the first model's spec")
    device: Device = knob("auto", "Where the graph runs")
    batch_size: int = knob(8, "Pictures in a batch", ge=1, le=4096)
    bootstrap: int = knob(2000, "Paired resamples of the pictures", ge=100, le=1_000_000)
    pictures: int = knob(12, "Pictures shown that changed sides", ge=0, le=1000)
    speed: bool = knob(True, "Also time the models in turn on the same pictures")


class PredictSpec(Model):
    """Run a model on pictures, videos and streams."""

    model: str | None = knob(None, "MODEL: a run, a checkpoint folder, a bundle folder or zip")
    images: tuple[str, ...] = knob(
        (),
        "Pictures and videos: files, folders, globs; a camera (/dev/video0), '-' (a pipe); URLs and streams such as "
        "rtsp:// (these with allow_urls)",
    )
    backend: GraphBackend = knob(
        "auto", "What runs the graph: onnxruntime or openvino a bundle's, torch a checkpoint's"
    )
    device: Device = knob("auto", "Where the graph runs")
    batch_size: int = knob(8, "Pictures in a batch; of a live stream always 1", ge=1, le=4096)
    formats: tuple[PredictFormat, ...] = knob(
        ("json", "csv"),
        "What to write: json | jsonl | csv; pictures and video (drawn on); crops (each box cut out); "
        "coco | yolo | label_studio | masks (data sets of what the model says)",
        flag="--formats",
    )
    every: int = knob(1, "Of a video take each so many-th frame", unit="frames", ge=1, le=1_000_000, flag="--every")
    every_s: float = knob(
        0.0, "Of a video take a frame each so many seconds; 0 takes no notice of time", unit="s", ge=0, flag="--every-s"
    )
    live: bool | Auto = knob(
        "auto",
        "Drop frames rather than fall behind; auto does for cameras, pipes, .m3u8 and streams, and never for files",
        flag="--live",
    )
    timeout_s: float = knob(
        10.0, "A stream that gives no frame for so long has stopped: the run ends with what it has", unit="s", gt=0
    )
    track: Literal["none", "bytetrack"] = knob(
        "none", "Give the same object of a video the same number in every frame", flag="--track"
    )
    track_s: float = knob(
        1.0, "Seconds that an object may be out of sight and keep its number", unit="s", gt=0, le=3600
    )
    crop_margin: float = knob(
        0.0, "Crops also show so much around the box, as a share of its longer edge, on each side", ge=0, le=10
    )
    allow_urls: bool = knob(False, "May http(s) addresses and streams be read?", flag="--allow-urls")
    recursive: bool = knob(True, "Look into folders inside folders")


class ExplainSpec(Model):
    """Show what in a picture made the answer, and how far each map can be trusted."""

    models: tuple[str, ...] = knob((), "MODELs: runs, checkpoint folders, bundles; the maps of several side by side")
    images: tuple[str, ...] = knob(
        (), "Pictures: files, folders, globs, URLs; without any, some that the first model was not trained on"
    )
    pictures: int = knob(8, "Pictures taken when none are named, up to half of them mistakes", ge=1, le=1000)
    targets: tuple[str, ...] = knob(
        (), "What to explain, in the task's words: classes by name or id; empty is the answer itself", flag="--targets"
    )
    maps: tuple[Literal["gradcam", "rise", "rollout", "features"], ...] = knob(
        (), "Kinds of maps; empty is all that suit the model (a bundle: rise)", flag="--maps"
    )
    layer: str | None = knob(
        None, "Inner layer that gradcam and features look at; without it the encoder's last map", flag="--layer"
    )
    layers: bool = knob(False, "Only list the model's layers that a map can be made of", flag="--layers")
    corruption: str | None = knob(
        None, "Also explain each picture corrupted: a corruption and its severity, such as noise:3", flag="--corruption"
    )
    backend: GraphBackend = knob(
        "auto", "What runs the graph: onnxruntime or openvino a bundle's, torch a checkpoint's"
    )
    device: Device = knob("auto", "Where the graph runs")
    batch_size: int = knob(16, "Changed pictures in a batch", ge=1, le=4096)
    masks: int = knob(800, "Random masks that rise hides a picture with; more give a smoother map", ge=2, le=100_000)
    cells: int = knob(7, "Cells along each side of a random mask, and of a random map", ge=2, le=64)
    steps: int = knob(32, "Equal shares of the pixels that the deletion and insertion scores go by", ge=2, le=1000)
    random_maps: int = knob(4, "Random maps of each picture that its maps are compared with", ge=1, le=100)
    formats: tuple[Literal["pictures", "arrays"], ...] = knob(
        ("pictures", "arrays"), "What to write beside explanations.json and the page", flag="--formats"
    )
    allow_urls: bool = knob(False, "May pictures be fetched from http(s)?", flag="--allow-urls")
    recursive: bool = knob(True, "Look into folders inside folders")


class ExportSpec(Model):
    """Turn a checkpoint into a bundle and prove that both say the same."""

    model: str | None = knob(None, "MODEL: a run or a checkpoint folder")
    data: str | None = knob(
        None, "Pictures to prove parity and the metric on; without it the validation set of the model's spec"
    )
    opset: int = knob(20, "ONNX operator set", ge=17, le=25)
    tolerance: float = knob(1e-3, "Largest |a-b| over max(1e-3, max|a|) of any raw output", gt=0, le=1)
    metric_tolerance: float = knob(0.005, "Largest change of the headline metric on those pictures", ge=0, le=1)
    dynamic_size: bool | Auto = knob(
        "auto",
        "Leave height and width free, for networks that allow it; auto does where pictures come out at different sizes",
    )
    golden: Literal["drawn", "images"] = knob(
        "drawn", "Golden inputs that travel in the bundle: drawn by seed, or real pictures (they are somebody's)"
    )
    golden_count: int = knob(4, "Golden inputs", ge=1, le=64)
    parity_images: int = knob(64, "Real pictures that parity is also checked on", ge=0, le=100_000)
    backends: tuple[OnnxBackend, ...] | Auto = knob(
        "auto", "Runtimes that the graph is also proven in, beside onnxruntime; auto takes those installed"
    )
    zip: bool = knob(False, "Also write the bundle as one zip", flag="--zip")


class VerifySpec(Model):
    """Prove that a bundle on this machine still gives its golden outputs."""

    bundle: str | None = knob(None, "A bundle folder or zip")
    backend: BundleBackend = knob("auto", "What runs the graph; auto is onnxruntime")
    device: Device = knob("auto", "Where the graph runs")


class ReproduceSpec(Model):
    """A published model, trained or evaluated as its authors did, and their figures beside ours."""

    name: str | None = knob(None, "The published result by name")
    coco: str | None = knob(
        None, "Folder of COCO 2017: annotations/instances_{train,val}2017.json, train2017/, val2017/", flag="--coco"
    )
    eval_only: bool = knob(False, "Only evaluate the authors' weights", flag="--eval-only")
    weights: str | None = knob(
        None, "With eval_only: the authors' file as they publish it, or a MODEL made of it", flag="--weights"
    )
    pictures: int = knob(0, "Only so many of the validation pictures, for a first look; 0 takes all", ge=0)
    device: Device = knob("auto", "With eval_only: where the graph runs")


class ReportSpec(Model):
    """Write a run's report: one HTML page that needs no network."""

    run: str | None = knob(None, "A run folder")
    title: str | None = knob(None, "Title of the page; the run's name without it")


class FitSpec(Model):
    """The short way: check, train, evaluate, export, verify and report by a recipe that fits the data and the time."""

    photos: str | None = knob(
        None, "Your pictures: a folder for each class or a CSV; boxes as YOLO, VOC, KITTI, CVAT, Label Studio, COCO"
    )
    minutes: float = knob(20, "Time that may be spent on training and trying", unit="min", gt=0, flag="--minutes")
    task: str = knob("auto", "The task by name, or auto from the labels")
    few_pictures: int = knob(300, "Below so many labelled pictures the score comes from repeated k-fold", ge=0)
    folds: int = knob(5, "Folds of the k-fold", ge=2, le=20)
    repeats: int = knob(2, "Repeats of the k-fold", ge=1, le=20)
    finetune: bool = knob(True, "Also fine-tune, not only the head on frozen features; the better one is kept")
    label_curve: bool = knob(True, "Draw the score over the number of labels")
    report: bool = knob(True, "Write the report")
