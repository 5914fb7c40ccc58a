// Command chaos proves, or disproves, that the gateway loses and doubles nothing
// whatever is killed: it runs edges, workers and reconcilers as processes of
// their own on one embedded store, harms them by a schedule that a seed decides,
// and compares what independent watchers saw with what the API says at the end.
//
// It exits with 0 when every rule held, 1 when one was broken or the campaign
// could not be run, 2 for wrong arguments. Called with the name of a role it is
// a node of a campaign instead. make chaos runs it; docs/reliability.md says how
// to read what it prints.
package main
