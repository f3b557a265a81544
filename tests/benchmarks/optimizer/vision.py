"""Models of pictures, from transformers' configurations."""

from collections.abc import Callable
from typing import Any

import torch
import transformers

from tests.benchmarks.optimizer.recipes import Call, Input, Recipe, perturbed


def _last(model: Any, pixels: torch.Tensor) -> Any:
    return model(pixel_values=pixels).last_hidden_state


def _pooled(model: Any, pixels: torch.Tensor) -> Any:
    found = model(pixel_values=pixels)
    return found.last_hidden_state, found.pooler_output


def _logits(model: Any, pixels: torch.Tensor) -> Any:
    return model(pixel_values=pixels).logits


def vit(full: bool) -> torch.nn.Module:
    """ViT-B/16."""
    config = transformers.ViTConfig(num_hidden_layers=12 if full else 3)
    return Call(perturbed(transformers.ViTModel(config, add_pooling_layer=False)), _last)


def clip_vision(full: bool) -> torch.nn.Module:
    """The picture half of CLIP ViT-B/32."""
    config = transformers.CLIPVisionConfig(num_hidden_layers=12 if full else 3)
    return Call(perturbed(transformers.CLIPVisionModel(config)), _pooled)


def swin(full: bool) -> torch.nn.Module:
    """Swin-T: windows, shifted and masked, relative bias."""
    config = transformers.SwinConfig(depths=[2, 2, 6, 2] if full else [2, 2, 2, 2])
    return Call(perturbed(transformers.SwinForImageClassification(config)), _logits)


def segformer(full: bool) -> torch.nn.Module:
    """SegFormer-B0 for classes: attention over maps of fewer pixels, neighbours in its layers."""
    config = transformers.SegformerConfig()
    return Call(perturbed(transformers.SegformerForImageClassification(config)), _logits)


def pvt_v2(full: bool) -> torch.nn.Module:
    """PVT v2 B0: the same, and patches that overlap."""
    config = transformers.PvtV2Config()
    return Call(perturbed(transformers.PvtV2ForImageClassification(config)), _logits)


def convnext(full: bool) -> torch.nn.Module:
    """ConvNeXt-T."""
    config = transformers.ConvNextConfig(depths=[3, 3, 9, 3] if full else [3, 3, 3, 3])
    return Call(perturbed(transformers.ConvNextForImageClassification(config)), _logits)


def _moved(model: torch.nn.Module, part: str) -> torch.nn.Module:
    """``model`` with the parameters of ``part`` away from the 0 and 1 that they begin as."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if part in name:
                weight += 0.3 * torch.rand(weight.shape, generator=random) - 0.1
    return model


def convnext_v2(full: bool) -> torch.nn.Module:
    """ConvNeXt V2 atto: global response normalization, whose weights begin as zeros."""
    sizes = [40, 80, 160, 320]
    config = transformers.ConvNextV2Config(hidden_sizes=sizes, depths=[2, 2, 6, 2])
    model = perturbed(transformers.ConvNextV2ForImageClassification(config))
    return Call(_moved(model, ".grn."), _logits)


def hgnet_v2(full: bool) -> torch.nn.Module:
    """PP-HGNetV2 B0, as D-FINE and PP-OCRv5 have it: a factor and a number behind each Relu."""
    made = [64, 256, 512, 1024]
    config = transformers.HGNetV2Config(
        stem_channels=[3, 16, 16],
        stage_in_channels=[16, 64, 256, 512],
        stage_mid_channels=[16, 32, 64, 128],
        stage_out_channels=made,
        hidden_sizes=made,
        depths=[1, 1, 2, 1],
        stage_num_blocks=[1, 1, 2, 1],
        stage_numb_of_layers=[3, 3, 3, 3],
        use_learnable_affine_block=True,
    )
    model = perturbed(transformers.HGNetV2ForImageClassification(config))
    return Call(_moved(model, ".lab."), _logits)


def resnet(full: bool) -> torch.nn.Module:
    """ResNet-50."""
    return Call(
        perturbed(transformers.ResNetForImageClassification(transformers.ResNetConfig())), _logits
    )


def mobilenet_v2(full: bool) -> torch.nn.Module:
    """MobileNetV2, with TensorFlow's padding, as transformers has it."""
    config = transformers.MobileNetV2Config()
    return Call(perturbed(transformers.MobileNetV2ForImageClassification(config)), _logits)


def efficientnet(full: bool) -> torch.nn.Module:
    """EfficientNet-B0: squeeze-excite, SiLU."""
    config = transformers.EfficientNetConfig(
        width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, image_size=224
    )
    return Call(perturbed(transformers.EfficientNetForImageClassification(config)), _logits)


def regnet(full: bool) -> torch.nn.Module:
    """RegNetY-200MF (Radosavovic et al., 2020): groups of 8 channels, some odd in number."""
    config = transformers.RegNetConfig(
        hidden_sizes=[24, 56, 152, 368], depths=[1, 1, 4, 7], groups_width=8, layer_type="y"
    )
    return Call(perturbed(transformers.RegNetForImageClassification(config)), _logits)


def textnet(full: bool) -> torch.nn.Module:
    """TextNet-T (Chen et al., 2021): kernels of 3x3, 3x1 and 1x3 side by side, as it is trained."""
    config = transformers.TextNetConfig()
    return Call(perturbed(transformers.TextNetForImageClassification(config)), _logits)


def detr(full: bool) -> torch.nn.Module:
    """DETR with a ResNet-50 backbone at 320."""
    layers = 6 if full else 2
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=transformers.ResNetConfig(out_features=["stage4"]),
        encoder_layers=layers,
        decoder_layers=layers,
    )
    return Call(perturbed(transformers.DetrForObjectDetection(config)), _boxes)


def _boxes(model: Any, pixels: torch.Tensor) -> Any:
    found = model(pixel_values=pixels)
    return found.logits, found.pred_boxes


def _picture(
    name: str, build: Callable[[bool], Any], outputs: tuple[str, ...], side: int = 224
) -> Recipe:
    port = Input("pixel_values", ("batch", 3, side, side))
    return Recipe(name, build, (port,), outputs, ({"batch": 1}, {"batch": 3}))


RECIPES = (
    _picture("vit", vit, ("hidden",)),
    _picture("clip_vision", clip_vision, ("hidden", "pooled")),
    _picture("swin", swin, ("logits",)),
    _picture("segformer", segformer, ("logits",)),
    _picture("pvt_v2", pvt_v2, ("logits",)),
    _picture("convnext", convnext, ("logits",)),
    _picture("convnext_v2", convnext_v2, ("logits",)),
    _picture("hgnet_v2", hgnet_v2, ("logits",)),
    _picture("resnet50", resnet, ("logits",)),
    _picture("mobilenet_v2", mobilenet_v2, ("logits",)),
    _picture("efficientnet", efficientnet, ("logits",)),
    _picture("regnet", regnet, ("logits",)),
    _picture("textnet", textnet, ("logits",)),
    _picture("detr", detr, ("logits", "boxes"), side=320),
)
