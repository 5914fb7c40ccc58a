// Package progress shows a job's events to a person or a program: live on a
// terminal, as plain lines elsewhere, as JSON lines on request.
//
// It guarantees that what others wrote (the model, commands, the repository)
// cannot drive the terminal (package termsafe); that plain lines hold no escape
// sequence at all; that the live status is redrawn with carriage returns and
// blanks only, on one line shorter than the terminal, so that an interruption
// leaves no more than that line; and that JSON lines are the events as the
// gateway sent them. codexgw submit --watch and codexgw watch call it.
package progress
