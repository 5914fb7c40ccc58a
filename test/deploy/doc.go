// Package deploy holds the tests of the files that deploy the gateway: the
// Dockerfile, docker-compose.yml and skaffold.yaml name the same services, the
// variables they set exist, and the files they name are there.
//
// Whether the images build and run is the matter of `make compose-test`.
package deploy
