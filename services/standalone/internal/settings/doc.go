// Package settings finds out which gateway the command line means and with
// which key: flags before the environment before the configuration file.
//
// It owns where things lie on a person's machine (XDG base directories) and
// guarantees that a key only ever comes from a file or the environment, never
// from an argument, and that the key of the local gateway is used without being
// asked for only against an address of this machine. The commands of codexgw
// call it.
package settings
