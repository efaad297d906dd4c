"""Settings, as the application itself reads them."""

import os
from dataclasses import dataclass, field


@dataclass
class Settings:
    database_url: str = field(
        default_factory=lambda: os.environ["TODO_DATABASE"].replace(
            "postgresql://", "postgresql+psycopg2://"
        )
    )


settings = Settings()
