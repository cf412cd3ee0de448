"""The pages of the console on jobs."""

from fastapi import APIRouter

router = APIRouter()
