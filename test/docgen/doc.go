// Command docgen writes docs/reference from the code: the error registry, the
// events with their topics and subscriptions, the configuration, and the methods
// from the OpenRPC document beside the pages. It
// guarantees that a page says what the code does: its test fails when a page
// is stale, missing or belongs to nothing. It lives in the test module because
// that one may import every service.
//
// make docs runs it. A new page is one more row in pages; a new service's
// configuration is one more row in configs.
package main
