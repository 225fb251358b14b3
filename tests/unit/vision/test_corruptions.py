"""The 15 + 4 corruptions: every one at every severity, depth and size; each formula by hand; draws by name and seed."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from espalier.errors import ImageError, InputError
from espalier.vision import corruptions
from espalier.vision.corruptions import COMMON, EXTRA, SEVERITIES, Corruption, blur, corrupt, digital, ice, weather


def picture(height: int = 40, width: int = 56, bands: int = 3, dtype: Any = np.uint8, seed: int = 0) -> NDArray[Any]:
    """Smooth colours with an edge, and some texture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [0.5 + 0.35 * np.sin(6 * (x * (c + 1) + y * (bands - c))) for c in range(bands)]
    light = np.stack(waves, axis=2) * np.where(x > 0.5, 0.6, 1.0)[..., None] + rng.normal(0, 0.03, (height, width, 1))
    return np.asarray(np.rint(light.clip(0, 1) * np.iinfo(dtype).max), dtype)


def flat(value: int, side: int = 200) -> NDArray[np.uint8]:
    return np.full((side, side, 3), value, np.uint8)


def test_there_are_15_and_4() -> None:
    assert len(COMMON) == 15
    assert len(EXTRA) == 4
    assert corruptions.names() == COMMON + EXTRA
    assert set(corruptions.TABLE) == set(corruptions.names())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("name", corruptions.names())
def test_every_severity_changes_the_picture_and_keeps_its_form(name: str, dtype: Any) -> None:
    for bands in (1, 3, 5):
        image = picture(bands=bands, dtype=dtype)
        before = image.copy()
        for severity in SEVERITIES:
            found = corrupt(image, name, severity, seed=1, key="a")
            assert (found.shape, found.dtype) == (image.shape, image.dtype)
            assert (found != image).any() or (name, bands) == ("saturate", 1)
        assert np.array_equal(image, before)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 9), (2, 1), (8, 8), (3, 130)])
@pytest.mark.parametrize("name", corruptions.names())
def test_any_size(name: str, size_hw: tuple[int, int]) -> None:
    for bands, dtype in ((3, np.uint8), (1, np.uint16), (6, np.uint8)):
        image = picture(*size_hw, bands=bands, dtype=dtype)
        for severity in (1, 3, 5):
            assert corrupt(image, name, severity, seed=0, key="").shape == image.shape


@pytest.mark.slow
@pytest.mark.parametrize("name", corruptions.names())
def test_sides_longer_than_opencv_and_jpeg_count(name: str) -> None:
    for size_hw in ((2, 66_000), (33_000, 1)):
        image = picture(*size_hw)
        assert corrupt(image, name, 2, seed=0, key="").shape == image.shape


@pytest.mark.parametrize("name", corruptions.names())
def test_alpha_stays_and_colours_are_those_without_it(name: str) -> None:
    image = picture(24, 24, bands=4)
    found = corrupt(image, name, 3, seed=0, key="a")
    assert np.array_equal(found[..., 3], image[..., 3])
    assert np.array_equal(found[..., :3], corrupt(np.ascontiguousarray(image[..., :3]), name, 3, seed=0, key="a"))
    assert corrupt(image, name, 3, seed=0, key="a", alpha=False).shape == image.shape


@pytest.mark.parametrize("name", corruptions.names())
def test_16_bit_is_the_same_corruption(name: str) -> None:
    eight = picture(48, 48)
    sixteen = eight.astype(np.uint16) * 257
    a = corrupt(eight, name, 3, seed=0, key="a").astype(float)
    b = corrupt(sixteen, name, 3, seed=0, key="a") / 257
    assert np.abs(a - b).mean() < 0.6


@pytest.mark.parametrize("name", corruptions.names())
def test_the_draw_depends_on_seed_name_corruption_and_severity_alone(name: str) -> None:
    image = picture()
    one = corrupt(image, name, 2, seed=3, key="cat.png")
    corrupt(image, "fog", 5, seed=9, key="in between")
    assert np.array_equal(one, corrupt(image, name, 2, seed=3, key="cat.png"))
    if name in RANDOM:
        assert not np.array_equal(one, corrupt(image, name, 2, seed=4, key="cat.png"))
        assert not np.array_equal(one, corrupt(image, name, 2, seed=3, key="dog.png"))


RANDOM = {"gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "snow", "frost", "fog"}
RANDOM |= {"elastic_transform", "speckle_noise", "spatter"}


def test_a_draw_is_the_same_on_every_machine() -> None:
    assert corruptions.generator(0, "a.png", "fog", 1).integers(2**32) == 2269774875
    assert corruptions.generator(0, "a.png", "fog", 2).integers(2**32) != 2269774875


@pytest.mark.parametrize(("severity", "std"), list(enumerate((0.08, 0.12, 0.18, 0.26, 0.38), 1)))
def test_gaussian_noise_has_its_published_deviation(severity: int, std: float) -> None:
    """On middle grey, cut at black and white: the deviation of a normal cut at ±127.5."""
    from scipy.stats import norm

    found = corrupt(flat(128), "gaussian_noise", severity, seed=0, key="") / 255 - 128 / 255
    low, high = -128 / 255 / std, 127 / 255 / std
    inside = norm.cdf(high) - norm.cdf(low)
    square = inside - (high * norm.pdf(high) - low * norm.pdf(low)) + norm.sf(high) * high**2 + norm.cdf(low) * low**2
    assert found.std() == pytest.approx(std * square**0.5, rel=0.01)


@pytest.mark.parametrize(("severity", "photons"), list(enumerate((60, 25, 12, 5, 3), 1)))
def test_shot_noise_counts_photons(severity: int, photons: int) -> None:
    found = corrupt(flat(51), "shot_noise", severity, seed=0, key="") / 255
    assert found.mean() == pytest.approx(0.2, rel=0.02)
    assert found.std() == pytest.approx((0.2 / photons) ** 0.5, rel=0.03)
    assert np.abs(found * photons - np.rint(found * photons)).max() < 0.5 * photons / 255 + 1e-6


@pytest.mark.parametrize(("severity", "share"), list(enumerate((0.03, 0.06, 0.09, 0.17, 0.27), 1)))
def test_impulse_noise_is_half_salt_half_pepper(severity: int, share: float) -> None:
    found = corrupt(flat(100), "impulse_noise", severity, seed=0, key="")
    assert (found == 255).mean() == pytest.approx(share / 2, rel=0.05)
    assert (found == 0).mean() == pytest.approx(share / 2, rel=0.05)


@pytest.mark.parametrize(("severity", "std"), list(enumerate((0.15, 0.2, 0.35, 0.45, 0.6), 1)))
def test_speckle_noise_grows_with_the_value(severity: int, std: float) -> None:
    for value in (30, 60):
        found = corrupt(flat(value), "speckle_noise", severity, seed=0, key="")
        upper = found[found > value] - float(value)  # the half that black does not cut
        assert np.sqrt((upper**2).mean()) == pytest.approx(value * std, rel=0.06)


@pytest.mark.parametrize(("severity", "sigma"), list(enumerate((1, 2, 3, 4, 6), 1)))
def test_gaussian_blur_is_scipys(severity: int, sigma: int) -> None:
    image = picture()
    expected = np.stack(
        [ndimage.gaussian_filter(image[..., c].astype(float), sigma, mode="nearest") for c in range(3)], 2
    )
    found = corrupt(image, "gaussian_blur", severity, seed=0, key="")
    assert np.abs(found - expected).max() < 0.51


@pytest.mark.parametrize(("severity", "radius"), list(enumerate((3, 4, 6, 8, 10), 1)))
def test_a_point_out_of_focus_is_a_disc(severity: int, radius: int) -> None:
    image = np.zeros((41, 41, 1), np.uint16)
    image[20, 20] = 65535
    found = corrupt(image, "defocus_blur", severity, seed=0, key="")[..., 0].astype(float)
    y, x = np.mgrid[-20:21, -20:21]
    disc = (x**2 + y**2 <= radius**2).astype(float)
    assert found.sum() == pytest.approx(65535, rel=0.02)
    assert found[disc == 0].sum() < 0.12 * 65535  # the softened rim
    assert found[20, 20] == pytest.approx(65535 / disc.sum(), abs=1)


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_glass_blurs_shuffle_is_the_published_loop(reach: int) -> None:
    rng = np.random.default_rng(reach)
    image = rng.random((23, 31, 3)).astype(np.float32)
    steps = rng.integers(-reach, reach, (23, 31, 2), dtype=np.int8)
    expected = image.copy()
    for h in range(23 - reach, reach, -1):
        for w in range(31 - reach, reach, -1):
            dy, dx = steps[h, w]
            expected[h, w], expected[h + dy, w + dx] = expected[h + dy, w + dx], expected[h, w]
    assert np.array_equal(blur.shuffled(image, steps, reach), expected)


@pytest.mark.parametrize("angle", [0.0, 30.0, -45.0, -100.0])
def test_motion_blur_is_a_weighted_sum_of_shifted_pictures(angle: float) -> None:
    image = picture(60, 60).astype(np.float32)
    width, sigma = 21, 3.0
    weight = np.exp(-(np.arange(width) ** 2) / (2 * sigma**2))
    weight /= weight.sum()
    padded = np.pad(image, ((width, width), (width, width), (0, 0)), mode="edge")
    expected = np.zeros_like(image)
    for i, w in enumerate(weight):
        dy = -int(np.ceil(i * np.sin(np.deg2rad(angle)) - 0.5))
        dx = -int(np.ceil(i * np.cos(np.deg2rad(angle)) - 0.5))
        expected += w * padded[width - dy : width - dy + 60, width - dx : width - dx + 60]
    assert np.abs(blur.moved(image, 10, sigma, angle) - expected).max() < 0.01


@pytest.mark.parametrize("factor", [1.0, 1.07, 1.3, 3.0])
def test_zooming_is_scipys(factor: float) -> None:
    image = picture(50, 64).astype(np.float32)
    high, wide = (int(np.ceil(side / factor)) for side in (50, 64))
    top, left = (50 - high) // 2, (64 - wide) // 2
    middle = image[top : top + high, left : left + wide]
    expected = ndimage.zoom(middle, (factor, factor, 1), order=1)[:50, :64]
    assert np.abs(blur.zoomed(image, factor) - expected).max() < 1.5  # OpenCV looks up in steps of 1/32 px


@pytest.mark.parametrize(("severity", "plus"), list(enumerate((0.1, 0.2, 0.3, 0.4, 0.5), 1)))
def test_brightness_raises_the_value_and_keeps_the_hue(severity: int, plus: float) -> None:
    image = np.array([[[100, 50, 25], [0, 0, 0], [250, 10, 10]]], np.uint8)
    found = corrupt(image, "brightness", severity, seed=0, key="")[0]
    value = min(100 / 255 + plus, 1)
    assert np.abs(found[0] - 255 * value * np.array([1, 0.5, 0.25])).max() <= 0.51
    assert np.abs(found[1] - 255.0 * plus).max() <= 0.51
    assert found[2, 0] == 255


@pytest.mark.parametrize(
    ("severity", "times", "plus"), [(1, 0.3, 0), (2, 0.1, 0), (3, 2, 0), (4, 5, 0.1), (5, 20, 0.2)]
)
def test_saturate_by_the_standard_library(severity: int, times: float, plus: float) -> None:
    from colorsys import hsv_to_rgb, rgb_to_hsv

    image = picture(6, 7)
    image[0, 0] = 120
    found = corrupt(image, "saturate", severity, seed=0, key="")
    for row in range(6):
        for column in range(7):
            hue, saturation, value = rgb_to_hsv(*(image[row, column] / 255.0))
            expected = hsv_to_rgb(hue, min(saturation * times + plus, 1), value)
            assert np.abs(found[row, column] - 255 * np.array(expected)).max() < 0.51


@pytest.mark.parametrize(("severity", "kept"), list(enumerate((0.4, 0.3, 0.2, 0.1, 0.05), 1)))
def test_contrast_by_hand(severity: int, kept: float) -> None:
    image = np.array([[[0, 10, 200], [100, 30, 100]]], np.uint8)  # means 50, 20, 150
    found = corrupt(image, "contrast", severity, seed=0, key="")
    expected = np.array(
        [[50 - 50 * kept, 20 - 10 * kept, 150 + 50 * kept], [50 + 50 * kept, 20 + 10 * kept, 150 - 50 * kept]]
    )
    assert np.abs(found[0] - expected).max() <= 0.51


@pytest.mark.parametrize(("severity", "quality"), list(enumerate((25, 18, 15, 10, 7), 1)))
def test_jpeg_is_pillows(severity: int, quality: int) -> None:
    for image in (picture(), picture(bands=1)):
        file = BytesIO()
        Image.fromarray(image.squeeze()).save(file, "JPEG", quality=quality)
        expected = np.asarray(Image.open(file)).reshape(image.shape)
        assert np.array_equal(corrupt(image, "jpeg_compression", severity, seed=0, key=""), expected)


def test_jpeg_in_parts_is_the_same_but_at_their_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(40, 64)
    whole = corrupt(image, "jpeg_compression", 3, seed=0, key="")
    monkeypatch.setattr(digital, "LARGEST_JPEG_PX", 32)
    parts = corrupt(image, "jpeg_compression", 3, seed=0, key="")
    assert np.array_equal(parts[:31, :31], whole[:31, :31])
    assert np.array_equal(parts[33:, 33:], whole[33:, 33:])


def test_jpeg_of_a_picture_that_pillow_takes_for_an_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(200, 48)
    whole = corrupt(image, "jpeg_compression", 3, seed=0, key="")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50 * 48)
    monkeypatch.setattr(digital, "MOST_JPEG_PIXELS", 50 * 48)  # 48 rows of whole blocks
    parts = corrupt(image, "jpeg_compression", 3, seed=0, key="")
    assert np.array_equal(parts[:47], whole[:47])
    assert np.array_equal(parts[193:], whole[193:])


@pytest.mark.parametrize(("severity", "share"), list(enumerate((0.6, 0.5, 0.4, 0.3, 0.25), 1)))
def test_pixelate_is_pillows(severity: int, share: float) -> None:
    image = picture()
    small = Image.fromarray(image).resize((int(56 * share), int(40 * share)), Image.Resampling.BOX)
    expected = np.asarray(small.resize((56, 40), Image.Resampling.NEAREST))
    assert np.array_equal(corrupt(image, "pixelate", severity, seed=0, key=""), expected)


@pytest.mark.parametrize("size_hw", [(224, 224), (40, 300), (900, 700)])
@pytest.mark.parametrize("severity", [1, 5])
def test_elastic_moves_nothing_far(severity: int, size_hw: tuple[int, int]) -> None:
    """A column ramp tells how far each pixel came from."""
    ramp = np.tile(np.arange(size_hw[1], dtype=np.uint16)[None, :, None] * 50, (size_hw[0], 1, 1))
    moved_px = (corrupt(ramp, "elastic_transform", severity, seed=0, key="") - ramp.astype(float)) / 50
    reach = digital.elastic_reach_px(severity)
    assert reach < 10
    assert np.abs(moved_px).max() <= reach + 0.1
    if size_hw[0] > 100:
        assert moved_px.std() == pytest.approx(reach / 4, rel=0.25)


def test_fog_by_hand() -> None:
    image = flat(204, side=32)
    heights = weather.plasma(32, 2.0, corruptions.generator(0, "", "fog", 1))
    assert heights.min() == 0
    assert heights.max() == pytest.approx(1)
    found = corrupt(image, "fog", 1, seed=0, key="")
    assert np.abs(found[..., 0] - 255 * (0.8 + 1.5 * heights) * 0.8 / 2.3).max() < 0.51


def test_large_fog_is_a_smaller_map_enlarged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weather, "LARGEST_FOG_PX", 16)
    assert corrupt(picture(70, 33), "fog", 2, seed=0, key="").shape == (70, 33, 3)


def test_the_panes_of_frost_hide_as_much_as_the_photographs() -> None:
    for number, (mean, deviation) in enumerate(ice.PANES[:1]):
        pane = ice.drawn(number) * 255
        assert np.abs(pane.mean((0, 1)) - mean).max() < 1.5
        assert pane.std((0, 1)) == pytest.approx(deviation, rel=0.1)
    found = corrupt(flat(0), "frost", 1, seed=0, key="")
    assert 20 < found.mean() < 110  # 0.4 of a pane


def test_snow_whitens_and_spatter_darkens_by_mud_alone() -> None:
    image = flat(100, side=120)
    assert [corrupt(image, "snow", s, seed=0, key="").mean() > 110 for s in SEVERITIES] == [True] * 5
    water, mud = (corrupt(image, "spatter", s, seed=0, key="").astype(int) for s in (3, 5))
    assert water.min() >= 100
    assert water.max() > 130
    assert mud.max() <= 100
    assert np.abs(mud - (63, 42, 20)).sum(axis=2).min() <= 6


@pytest.mark.parametrize(("text", "expected"), [
    ("noise:3", ("gaussian_noise", 3)), ("gaussian_noise:5", ("gaussian_noise", 5)), (" Fog : 1 ", ("fog", 1)),
    ("blur:2", ("defocus_blur", 2)), ("jpeg:4", ("jpeg_compression", 4)), ("motion-blur:2", ("motion_blur", 2)),
])  # fmt: skip
def test_parse(text: str, expected: tuple[str, int]) -> None:
    assert corruptions.parse(text) == Corruption(*expected)


@pytest.mark.parametrize(("text", "words"), [
    ("noise", "NAME:SEVERITY"), ("noise:", "for example gaussian_noise:3"), ("noise:x", "NAME:SEVERITY"),
    ("fog:0", "from 1 to 5"), ("fog:6", "from 1 to 5"), ("fogg:2", "'fog'"), ("weather:2", "no corruption 'weather'"),
    ("fog:²", "NAME:SEVERITY"), ("", "NAME:SEVERITY"),
])  # fmt: skip
def test_parse_refuses(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        corruptions.parse(text)


def test_select_keeps_the_tables_order() -> None:
    assert corruptions.select(["fog", "noise", "gaussian_noise"]) == (
        "gaussian_noise", "shot_noise", "impulse_noise", "fog",
    )  # fmt: skip
    assert corruptions.select(["common"]) == COMMON
    assert corruptions.select(["common", "extra"]) == corruptions.select(["all"])


@pytest.mark.parametrize(
    ("given", "words"), [(["frots"], "'frost'"), (["jpg"], "jpeg"), ([], "no corruption is asked")]
)
def test_select_refuses(given: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        corruptions.select(given)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused(image: NDArray[Any]) -> None:
    with pytest.raises(ImageError, match="is needed"):
        corrupt(image, "fog", 1, seed=0, key="")
