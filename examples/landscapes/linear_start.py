"""Sets an autoencoder's first weights so that it begins as a linear codec of whole cells.

From random weights colours take thousands of steps to appear: every normalisation takes brightness away. Here each
stage of the encoder begins as the principal components of 2x2 blocks of the stage before, found on drawings; the
decoder begins by painting the mean colour of each cell, interpolated. Signals pass SiLU in pairs, because
silu(x) - silu(-x) = x, and pass normalisation beside two constant channels that hold its scale. Training then only
has to add detail.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor
from torch.nn import Conv2d
from torch.nn import functional as F

CONSTANT = 4.0  # of the channels that hold the scale; signals are about 1
LOG_VARIANCE = -4.0
BILINEAR = torch.tensor([0.25, 0.5, 0.25])


@torch.no_grad()
def start_linear(model: AutoencoderKL, pictures: Tensor) -> None:
    """`pictures`: (n, 3, height, width) from -1 to 1, sides a multiple of 16; a few hundred cells are enough."""
    for module in model.modules():
        if isinstance(module, ResnetBlock2D):
            _silence(module.conv2)
        if isinstance(module, Attention):
            _silence(module.to_out[0])
    latents = _start_encoder(model, pictures)
    _start_decoder(model, latents, F.avg_pool2d(pictures, 16))


def _silence(layer: Conv2d) -> None:
    layer.weight.zero_()
    if layer.bias is not None:
        layer.bias.zero_()


def _identity(layer: Conv2d) -> None:
    """Pass the channels through, as many as both sides have."""
    _silence(layer)
    middle = layer.kernel_size[0] // 2
    for channel in range(min(layer.in_channels, layer.out_channels)):
        layer.weight[channel, channel, middle, middle] = 1.0


def _components(samples: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first principal directions of (n, d) samples, (count, d), and the mean."""
    mean = samples.mean(0)
    covariance = (samples - mean).T @ (samples - mean) / len(samples)
    directions = torch.linalg.eigh(covariance).eigenvectors.flip(1).T
    return directions[:count], mean


def _start_encoder(model: AutoencoderKL, pictures: Tensor) -> Tensor:
    encoder = model.encoder
    _identity(encoder.conv_in)
    signal = pictures
    for block in encoder.down_blocks:
        if block.resnets[0].conv_shortcut is not None:
            _identity(block.resnets[0].conv_shortcut)
        if block.downsamplers is not None:
            signal = _start_downsampler(block.downsamplers[0].conv, signal)
    return _start_latents(model, signal)


def _start_downsampler(layer: Conv2d, signal: Tensor) -> Tensor:
    """Principal components of 2x2 blocks; diffusers pads at the right and below, so blocks are aligned."""
    channels = signal.shape[1]
    blocks = F.unfold(signal, 2, stride=2)  # (n, channels * 4, cells)
    samples = blocks.transpose(1, 2).reshape(-1, 4 * channels)
    count = min(layer.out_channels, 4 * channels)
    directions, _ = _components(samples[:: max(1, len(samples) // 20_000)], count)
    _silence(layer)
    layer.weight[:count, :channels, :2, :2] = directions.reshape(count, channels, 2, 2)
    return F.conv2d(signal, layer.weight[:count, :channels, :2, :2], stride=2)


def _start_latents(model: AutoencoderKL, signal: Tensor) -> Tensor:
    """The last shortcut makes pairs of whitened components; the output layers take them apart again."""
    encoder, count = model.encoder, model.config.latent_channels
    samples = signal.transpose(0, 1).flatten(1).T
    directions, mean = _components(samples, count)
    directions = directions / ((samples - mean) @ directions.T).std(0)[:, None]
    shortcut = encoder.down_blocks[-1].resnets[0].conv_shortcut
    _silence(shortcut)
    for sign, first in ((1.0, 0), (-1.0, count)):
        shortcut.weight[first : first + count, : directions.shape[1], 0, 0] = sign * directions
        shortcut.bias[first : first + count] = -sign * (directions @ mean)
    shortcut.bias[2 * count], shortcut.bias[2 * count + 1] = CONSTANT, -CONSTANT
    latents = torch.einsum("kd,ndhw->nkhw", directions, signal) - (directions @ mean)[None, :, None, None]
    spread = (2 * count * latents.square().mean() + 2 * CONSTANT**2) / shortcut.out_channels
    _silence(encoder.conv_out)
    _pair_up(encoder.conv_out, count, float(spread.sqrt()))
    _identity(model.quant_conv)
    encoder.conv_out.bias[count:] = LOG_VARIANCE
    return latents


def _pair_up(layer: Conv2d, count: int, scale: float) -> None:
    """Output k is input k less input k + count, `scale` times."""
    for channel in range(count):
        layer.weight[channel, channel, 1, 1] = scale
        layer.weight[channel, count + channel, 1, 1] = -scale


def _start_decoder(model: AutoencoderKL, latents: Tensor, colours: Tensor) -> None:
    """Channels: colour, colour negated, two constants, then the latents themselves for what training finds in them."""
    decoder, count = model.decoder, model.config.latent_channels
    _identity(model.post_quant_conv)
    flat = latents.transpose(0, 1).flatten(1).T
    ones = torch.cat([flat, torch.ones(len(flat), 1)], 1)
    fit = torch.linalg.lstsq(ones, colours.transpose(0, 1).flatten(1).T).solution.T  # (3, count + 1)
    _silence(decoder.conv_in)
    for sign, first in ((1.0, 0), (-1.0, 3)):
        decoder.conv_in.weight[first : first + 3, :, 1, 1] = sign * fit[:, :count]
        decoder.conv_in.bias[first : first + 3] = sign * fit[:, count]
    for channel in range(count):
        decoder.conv_in.weight[8 + channel, channel, 1, 1] = 1.0
    for block in decoder.up_blocks:
        if block.resnets[0].conv_shortcut is not None:
            _identity(block.resnets[0].conv_shortcut)
        if block.upsamplers is not None:
            _start_upsampler(block.upsamplers[0].conv)
    spread = (6 * colours.square().mean() + 2 * CONSTANT**2) / decoder.conv_out.in_channels
    _silence(decoder.conv_out)
    _pair_up(decoder.conv_out, 3, float(spread.sqrt()))


def _start_upsampler(layer: Conv2d) -> None:
    """Bilinear interpolation of what was doubled; constants come from the bias, so that they do not fade at edges."""
    _silence(layer)
    for channel in range(layer.out_channels):
        layer.weight[channel, channel] = BILINEAR[:, None] * BILINEAR
    layer.weight[6:8] = 0.0
    assert layer.bias is not None  # diffusers' upsampling convolutions have one
    layer.bias[6], layer.bias[7] = CONSTANT, -CONSTANT
