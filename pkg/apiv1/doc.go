// Package apiv1 is the shape of version 1 of the API: the params and results
// of every JSON-RPC method, the event of a job's log and the answer of the
// long-poll route. The edge decodes and encodes them, the client and the CLI
// speak them, and the generated references describe them. Fields are only ever
// added.
package apiv1
