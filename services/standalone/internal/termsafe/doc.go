// Package termsafe makes text of others fit to print: what a model wrote, what
// a command put out, what is in a repository, what a gateway answered.
//
// It guarantees that nothing it returns can drive a terminal: no escape
// sequence, no control character but newline and tab, no character that
// reorders or hides what follows (Unicode bidirectional controls, format
// characters), and always valid UTF-8. It also knows how many columns a string
// takes, which redrawing a line needs. The command line client calls it on
// everything that it did not write itself.
package termsafe
