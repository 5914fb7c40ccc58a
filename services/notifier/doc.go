// Package notifier is the service that hears how jobs end and what they wait
// for, so that the outside can be told.
//
// It takes every message of the job-lifecycle topic and acks what it can read;
// what it cannot read goes to the dead letter with its reason. Delivering to
// endpoints is the webhook feature, which this service is the place of. It runs
// from the first day because its subscription keeps what nobody takes: without
// it a week of messages would wait in front of the first delivery.
//
// Its main builds it with [New] and calls [Service.Run].
package notifier
