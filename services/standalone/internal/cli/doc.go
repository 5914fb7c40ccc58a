// Package cli is the command line: codexgw's commands, flags, output and exit
// codes.
//
// It owns no logic of the gateway: commands call it through package client, and
// up, doctor and the patch commands have packages of their own. It guarantees
// the exit codes 0 (ok), 1 (the job or the command failed), 2 (wrong usage) and
// 3 (no gateway reached); that results go to standard output and everything
// else to standard error; that a usage error says what to do; that text of
// others cannot drive the terminal; and that no key is printed. main calls
// [Main].
package cli
