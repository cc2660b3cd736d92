"""PyTorch's first example, mnist/main.py of github.com/pytorch/examples: its network, loop and settings.

Images are normalised once instead of at each access, which is to its advantage.
"""

from __future__ import annotations

import torch
from digits import SEED, Clock, digits
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

EPOCHS, BATCH, TEST_BATCH = 14, 64, 1000
MEAN, DEVIATION = 0.1307, 0.3081


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = torch.flatten(self.dropout1(F.max_pool2d(x, 2)), 1)
        x = self.dropout2(F.relu(self.fc1(x)))
        return F.log_softmax(self.fc2(x), dim=1)


def train(model: Net, loader: DataLoader, optimizer: torch.optim.Optimizer) -> None:
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.nll_loss(model(x), y)
        loss.backward()
        optimizer.step()


def test(model: Net, loader: DataLoader) -> float:
    model.eval()
    with torch.no_grad():
        right = sum(int((model(x).argmax(dim=1) == y).sum()) for x, y in loader)
    return right / len(loader.dataset)


def main() -> None:
    torch.manual_seed(SEED)
    x, y, x_test, y_test = map(torch.from_numpy, digits())
    training = TensorDataset((x[:, None] - MEAN) / DEVIATION, y)
    testing = TensorDataset((x_test[:, None] - MEAN) / DEVIATION, y_test)
    loader = DataLoader(training, batch_size=BATCH, shuffle=True)
    test_loader = DataLoader(testing, batch_size=TEST_BATCH)
    model = Net()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
    clock = Clock()
    for epoch in range(1, EPOCHS + 1):
        train(model, loader, optimizer)
        clock.tell(epoch, test(model, test_loader))
        scheduler.step()


if __name__ == "__main__":
    main()
