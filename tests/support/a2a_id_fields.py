"""The texts of A2A that name a task or what belongs to one, by the classes of the official SDK."""

from typing import Any

from a2a.compat.v0_3 import a2a_v0_3_pb2
from a2a.types import a2a_pb2

from crewgate.core.a2a.methods import Version

SDK_MODULES: dict[Version, Any] = {Version.V1_0: a2a_pb2, Version.V0_3: a2a_v0_3_pb2}
# Every field of the protocol that holds such a text, by its message.
IDS = {
    ("Task", "id"), ("Task", "context_id"), ("Message", "context_id"), ("Message", "task_id"),
    ("Message", "reference_task_ids"), ("TaskStatusUpdateEvent", "task_id"),
    ("TaskStatusUpdateEvent", "context_id"), ("TaskArtifactUpdateEvent", "task_id"),
    ("TaskArtifactUpdateEvent", "context_id"), ("GetTaskRequest", "id"),
    ("CancelTaskRequest", "id"), ("SubscribeToTaskRequest", "id"),
    ("TaskPushNotificationConfig", "task_id"), ("GetTaskPushNotificationConfigRequest", "task_id"),
    ("DeleteTaskPushNotificationConfigRequest", "task_id"),
    ("ListTaskPushNotificationConfigsRequest", "task_id"), ("ListTasksRequest", "context_id"),
    ("ListTasksRequest", "page_token"), ("ListTasksResponse", "next_page_token"),
    ("TaskPushNotificationConfig", "url"), ("PushNotificationConfig", "url"),
}  # fmt: skip
NAMES = {
    ("TaskPushNotificationConfig", "name"), ("CreateTaskPushNotificationConfigRequest", "parent"),
    ("ListTaskPushNotificationConfigRequest", "parent"), ("GetTaskRequest", "name"),
    ("CancelTaskRequest", "name"), ("TaskSubscriptionRequest", "name"),
    ("GetTaskPushNotificationConfigRequest", "name"),
    ("DeleteTaskPushNotificationConfigRequest", "name"),
}  # fmt: skip


def kind_of(message: str, field: str) -> str:
    """The kind of text in a field: "task", "name", "context", "page", "tenant" or "url".

    Empty for any other text.
    """
    if field == "tenant":
        return field
    if (message, field) in NAMES:
        return "name"
    if (message, field) not in IDS:
        return ""
    kinds = {"context_id": "context", "url": "url"}
    return kinds.get(field, "page" if field.endswith("page_token") else "task")
