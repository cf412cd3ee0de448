"""The pages of the console on files."""

from fastapi import APIRouter

router = APIRouter()
