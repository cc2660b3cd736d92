"""The loop of PyTorch's first examples: DataLoader, model, loss, backward, step; then the test images.

Images are normalised once instead of at each access, which is to its advantage.
"""

from __future__ import annotations

import torch
from fit import MOMENTUM, RATE, Clock, Given, given, standard
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from with_torch import Net

TEST_BATCH = 1000


def main() -> None:
    work = given()
    clock = Clock()
    torch.manual_seed(work.seed)
    training, testing = data(work, work.x, work.y), data(work, work.x_test, work.y_test)
    model = Net(work.nodes)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, nesterov=True)
    loader = DataLoader(training, batch_size=work.batch, shuffle=True)
    model.train()
    for _ in range(work.epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        right = sum(int((model(x).argmax(dim=1) == y).sum()) for x, y in DataLoader(testing, batch_size=TEST_BATCH))
    clock.tell(right / len(testing))


def data(work: Given, x: torch.Tensor, y: torch.Tensor) -> TensorDataset:
    images = torch.from_numpy(standard(x, work.x)).permute(0, 3, 1, 2).contiguous()
    return TensorDataset(images, torch.from_numpy(y).long())


if __name__ == "__main__":
    main()
