package apiv1

// Names of the JSON-RPC methods and notifications.
const (
	MethodConversationPrompt = "conversation.prompt"
	MethodConversationStatus = "conversation.status"
	MethodConversationCancel = "conversation.cancel"
	MethodJobGet             = "job.get"
	MethodJobList            = "job.list"
	MethodJobEvents          = "job.events"
	MethodJobArtifacts       = "job.artifacts"
	MethodJobCancel          = "job.cancel"
	MethodJobRetry           = "job.retry"
	MethodJobSubscribe       = "job.subscribe"
	MethodJobUnsubscribe     = "job.unsubscribe"
	MethodKeyCreate          = "key.create"
	MethodKeyList            = "key.list"
	MethodKeyRotate          = "key.rotate"
	MethodKeyRevoke          = "key.revoke"
	MethodSystemPing         = "system.ping"
	MethodRPCDiscover        = "rpc.discover"

	// NotifyJobEvent carries one event of a subscribed job.
	NotifyJobEvent = "job.event"
	// NotifySubscriptionClosed says that a subscription ended and why.
	NotifySubscriptionClosed = "job.subscription_closed"
)
