// Package wait owns waiting: for a time, until somebody ends it, or for the end
// of what a context's end has begun.
//
// A plain sleep cannot be ended, so a service that is asked to stop would hang
// in it. Retry loops of every layer call it.
package wait
