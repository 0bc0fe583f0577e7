"""EMO-AffectNet's dynamic models: two LSTMs over ten embeddings of the static model, 0.2 s apart.

Weights `FER_dinamic_LSTM_{Aff-Wild2,RAVDESS,CREMA-D,SAVEE,RAMAS,IEMOCAP}.pt` of
huggingface.co/ElenaRyumina/face_emotion_recognition; the paper is named in emo_affectnet.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bimodal.models.architectures.emo_affectnet import EMBEDDING, LABELS

STEPS = 10
INTERVAL_S = 0.2


class EmoAffectNetDynamic(nn.Module):
    """Exported graph: embeddings float32 [N, 10, 512], oldest first → probabilities [N, 7]."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm1 = nn.LSTM(EMBEDDING, 512, batch_first=True)
        self.lstm2 = nn.LSTM(512, 256, batch_first=True)
        self.fc = nn.Linear(256, len(LABELS))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return probabilities of the last step; includes the softmax, as the authors' module does."""
        steps, _ = self.lstm1(embeddings)
        steps, _ = self.lstm2(steps)
        return torch.softmax(self.fc(steps[:, -1]), dim=1)
