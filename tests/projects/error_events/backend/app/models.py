"""Events of errors; guide 000 adds the column `status_code` to them."""

from sqlalchemy import Column, Index, Integer, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    pass


class ErrorEvent(Base):
    __tablename__ = "error_events"

    id = Column(Integer, primary_key=True)
    source = Column(String(50), nullable=False)
    payload = Column(JSONB, nullable=False)
