// Package audit owns the record of who did what, from where, and with which
// outcome.
//
// Every record is written to a log stream of its own, told from all other logs by
// log="audit" and independent of the log level. Those of actions that change who
// may do what ([Action.Stored]) are also documents, kept for a time and queried
// by tenant; [Trail.Write] gives the write of one to whoever commits the change
// and the record together. Reads, failed logins and refused calls cost no
// write: alike ones are counted and told of once a minute.
//
// A record holds ids, never a secret, a prompt, a header or a body. The edge
// writes and lists records, the reconciler removes those whose time is over.
package audit
