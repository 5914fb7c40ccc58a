package codex

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// errLineTooLong is a line over the cap. What follows it cannot be trusted to
// start at a message, so it ends the conversation.
var errLineTooLong = errors.New("codex: line too long")

// keepBuffer is the capacity up to which the line buffer is kept; after a line
// of tens of megabytes it would hold that memory for the rest of the job.
const keepBuffer = 1 << 20

// lineReader reads lines of any length up to a cap.
type lineReader struct {
	r    *bufio.Reader
	max  int
	long []byte
}

func newLineReader(r io.Reader, limit int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 64<<10), max: limit}
}

// next returns the next line without its end. The slice is valid until the next
// call. A last line without a newline counts: Codex killed in the middle of a
// write leaves one.
func (l *lineReader) next() ([]byte, error) {
	if cap(l.long) > keepBuffer {
		l.long = nil
	}
	l.long = l.long[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		if len(l.long)+len(part) > l.max {
			return nil, fmt.Errorf("%w: over %d bytes", errLineTooLong, l.max)
		}
		if err == nil && len(l.long) == 0 {
			return trimEOL(part), nil
		}
		if len(part) > cap(l.long)-len(l.long) {
			// Doubling: append grows large slices by a quarter, which copies a line of
			// 50 MB five times.
			l.long = slices.Grow(l.long, max(len(part), len(l.long)))
		}
		l.long = append(l.long, part...)
		switch {
		case err == nil:
			return trimEOL(l.long), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(l.long) > 0:
			return trimEOL(l.long), nil
		default:
			return nil, err
		}
	}
}

func trimEOL(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
}
