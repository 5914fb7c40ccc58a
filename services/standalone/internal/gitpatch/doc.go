// Package gitpatch applies a job's patch to a person's working tree and shows
// it in colour.
//
// It guarantees that a patch either applies whole or changes nothing (unless a
// three-way merge was asked for), that it stays inside the work tree (git
// refuses paths that lead out of it, through symbolic links or into .git), and
// that git runs with an environment of its own, without the caller's keys.
// codexgw diff and codexgw apply call it.
package gitpatch
