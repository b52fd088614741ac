"""A clip network that a laptop trains in minutes."""

from torch import Tensor, nn


class _Block(nn.Module):
    """Two 3x3x3 convolutions beside a path around them."""

    def __init__(self, channels_in: int, channels: int, stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm3d(channels)
        self.conv2 = nn.Conv3d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm3d(channels)
        self.around = nn.Sequential(nn.Conv3d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm3d(channels))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        inside = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        return self.relu(inside + self.around(x))


class SmallClipNet(nn.Module):
    """A 3-D ResNet of 0.4 million weights: (N, 3, T, S, S) -> (N, classes).

    Of a clip of 8 x 56 x 56 its layers have 8 x 28 x 28, 8 x 14 x 14, 4 x 14 x 14 and 2 x 7 x 7 cells.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(3, 16, (3, 5, 5), (1, 2, 2), (1, 2, 2), bias=False), nn.BatchNorm3d(16), nn.ReLU()
        )
        self.layer1 = _Block(16, 24, (1, 2, 2))
        self.layer2 = _Block(24, 48, (2, 1, 1))
        self.layer3 = _Block(48, 64, (2, 2, 2))
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(64, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return self.fc(self.pool(x).flatten(1))
