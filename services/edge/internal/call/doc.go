// Package call is what a transport tells the methods about the request it
// serves, and what they tell it back. HTTP and WebSocket write it, the methods
// read it, so that no method knows which transport it runs on.
package call
