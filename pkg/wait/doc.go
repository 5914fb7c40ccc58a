// Package wait owns waiting: for a time, or until somebody ends it.
//
// A plain sleep cannot be ended, so a service that is asked to stop would hang
// in it. Retry loops of every layer call it.
package wait
