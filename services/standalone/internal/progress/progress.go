package progress

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/services/standalone/internal/termsafe"
)

// Mode is how events are shown.
type Mode int

// The modes.
const (
	// Plain is for files and pipes: finished lines, no escape sequences.
	Plain Mode = iota
	// Live is for terminals.
	Live
	// JSON prints each event as one line of JSON.
	JSON
)

// Options of a [View].
type Options struct {
	Out  io.Writer
	Mode Mode
	// Color allows colours in Live mode.
	Color bool
	// Width is the terminal's width in columns, asked at every redraw: windows
	// are resized. nil means 80.
	Width func() int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Tick redraws the live status; nil means every 100 ms.
	Tick <-chan time.Time
}

// View shows the events of one job. Its methods are for one goroutine.
type View struct {
	show   func(*apiv1.Event) error
	finish func() error
}

// New returns a view. Close must be called: a live one holds a line of the
// terminal.
func New(opt Options) *View {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Width == nil {
		opt.Width = func() int { return 80 }
	}
	switch opt.Mode {
	case JSON:
		return &View{
			show:   func(e *apiv1.Event) error { return writeJSON(opt.Out, e) },
			finish: func() error { return nil },
		}
	case Live:
		s := newLive(opt)
		n := &narrator{screen: s, now: opt.Now}
		return &View{show: func(e *apiv1.Event) error { n.event(e); return s.failed() }, finish: s.close}
	case Plain:
	}
	s := &plain{out: opt.Out}
	n := &narrator{screen: s, now: opt.Now}
	return &View{show: func(e *apiv1.Event) error { n.event(e); return s.err }, finish: s.close}
}

// Event shows one event. The error is of the writer: nobody looks any more.
func (v *View) Event(e apiv1.Event) error { return v.show(&e) }

// Close ends an open line and takes the live status away.
func (v *View) Close() error { return v.finish() }

// writeJSON writes an event as it came, but for escapes.
func writeJSON(w io.Writer, e *apiv1.Event) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return err
	}
	_, err := w.Write(termsafe.JSON(line.Bytes()))
	return err
}

// style is how a piece of a line looks.
type style int

const (
	normal style = iota
	bold
	dim
	good
	bad
	note
)

// span is a piece of a line. Its text is clean.
type span struct {
	style style
	text  string
}

// screen is where the narrator writes.
type screen interface {
	// line shows a finished line.
	line(spans ...span)
	// cut is line for what need not be read to its end: on a terminal it is cut
	// rather than wrapped.
	cut(spans ...span)
	// gap shows an empty line unless the last one is.
	gap()
	// text streams text that may end in the middle of a line.
	text(s string)
	// endText finishes the line that text left open.
	endText()
	// status says what is going on now; since is when it began.
	status(s string, since time.Time)
}

// plain shows finished lines only.
type plain struct {
	out  io.Writer
	open []byte // the streamed line that is not finished
	// blank is true while the last line is an empty one.
	blank bool
	err   error // the first failure of out
}

var _ screen = (*plain)(nil)

func (p *plain) write(b []byte) {
	if p.err == nil {
		_, p.err = p.out.Write(b)
	}
}

func (p *plain) line(spans ...span) {
	p.endText()
	var b []byte
	for _, s := range spans {
		b = append(b, s.text...)
	}
	p.write(append(b, '\n'))
	p.blank = len(b) == 0
}

func (p *plain) gap() {
	if p.endText(); !p.blank {
		p.line()
	}
}

func (p *plain) cut(spans ...span) { p.line(spans...) }

// maxOpenLine bounds the line that is held back until it is finished.
const maxOpenLine = 64 << 10

func (p *plain) text(s string) {
	if s == "" {
		return
	}
	p.blank = false
	p.open = append(p.open, s...)
	if end := bytes.LastIndexByte(p.open, '\n') + 1; end > 0 {
		p.write(p.open[:end])
		p.open = append(p.open[:0], p.open[end:]...)
	}
	if len(p.open) > maxOpenLine {
		p.write(p.open)
		p.open = p.open[:0]
	}
}

func (p *plain) endText() {
	if len(p.open) > 0 {
		p.write(append(p.open, '\n'))
		p.open = p.open[:0]
	}
}

func (*plain) status(string, time.Time) {}

func (p *plain) close() error {
	p.endText()
	return p.err
}

// errClosed is what a view says after Close.
var errClosed = errors.New("progress: the view is closed")
