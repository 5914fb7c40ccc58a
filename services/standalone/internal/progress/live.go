package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"codexgateway.dev/services/standalone/internal/termsafe"
)

// tick is how often the status moves: often enough to look alive.
const tick = 100 * time.Millisecond

// frames of the spinner, one column each.
var frames = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// live writes to a terminal. A status line stays below what is written: it is
// drawn with a carriage return, padded with blanks over what stood there, and
// never as wide as the terminal, so it cannot wrap and a carriage return always
// reaches its start.
type live struct {
	out   io.Writer
	color bool
	width func() int
	now   func() time.Time

	mu     sync.Mutex
	err    error // the first failure of out
	doing  string
	since  time.Time
	frame  int
	shown  int  // columns of the status that stands on the terminal
	inText bool // streamed text left its line open: no status now
	blank  bool // the last line is an empty one
	closed bool

	stop chan struct{}
	done chan struct{}
}

var _ screen = (*live)(nil)

func newLive(opt Options) *live {
	l := &live{
		out: opt.Out, color: opt.Color, width: opt.Width, now: opt.Now,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	ticks := opt.Tick
	var ticker *time.Ticker
	if ticks == nil {
		ticker = time.NewTicker(tick)
		ticks = ticker.C
	}
	go func() {
		defer close(l.done)
		if ticker != nil {
			defer ticker.Stop()
		}
		for {
			select {
			case <-l.stop:
				return
			case <-ticks:
				l.mu.Lock()
				l.frame++
				l.draw()
				l.mu.Unlock()
			}
		}
	}()
	return l
}

// sgr are the colours.
var sgr = map[style]string{normal: "", bold: "1", dim: "2", good: "32", bad: "31", note: "36"}

func (l *live) paint(st style, s string) string {
	code := sgr[st]
	if !l.color || code == "" || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (l *live) write(s string) {
	if l.err == nil && s != "" {
		_, l.err = io.WriteString(l.out, s)
	}
}

// erase is what takes the status off the terminal.
func (l *live) erase() string {
	if l.shown == 0 {
		return ""
	}
	s := "\r" + strings.Repeat(" ", l.shown) + "\r"
	l.shown = 0
	return s
}

// draw puts the status on the terminal.
func (l *live) draw() {
	if l.inText || l.closed || l.doing == "" {
		return
	}
	s := l.doing
	if d := l.now().Sub(l.since); d >= time.Second {
		s += " " + seconds(d)
	}
	// One column stays free: a full last column wraps on many terminals.
	s = termsafe.Truncate(frames[l.frame%len(frames)]+" "+s, l.width()-1)
	l.write(l.erase() + l.paint(dim, s))
	l.shown = termsafe.Width(s)
}

func (l *live) line(spans ...span) { l.finished(spans) }

func (l *live) gap() {
	l.mu.Lock()
	blank := l.blank && !l.inText
	l.mu.Unlock()
	if !blank {
		l.finished(nil)
	}
}

func (l *live) cut(spans ...span) {
	room := l.width() - 1
	for i := range spans {
		spans[i].text = termsafe.Truncate(spans[i].text, room)
		room -= termsafe.Width(spans[i].text)
	}
	l.finished(spans)
}

func (l *live) finished(spans []span) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	b.WriteString(l.erase())
	if l.inText {
		b.WriteByte('\n')
		l.inText = false
	}
	for _, s := range spans {
		b.WriteString(l.paint(s.style, s.text))
	}
	b.WriteByte('\n')
	l.blank = len(spans) == 0
	l.write(b.String())
	l.draw()
}

func (l *live) text(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s == "" {
		return
	}
	l.write(l.erase() + s)
	l.inText, l.blank = !strings.HasSuffix(s, "\n"), false
	l.draw()
}

func (l *live) endText() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inText {
		l.inText = false
		l.write("\n")
	}
	l.draw()
}

func (l *live) status(s string, since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doing, l.since = s, since
	if s == "" {
		l.write(l.erase())
		return
	}
	l.draw()
}

func (l *live) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errClosed
	}
	return l.err
}

// close stops the redrawing and leaves the cursor at the start of a line.
func (l *live) close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.write(l.erase())
	if l.inText {
		l.write("\n")
		l.inText = false
	}
	l.closed = true
	err := l.err
	l.mu.Unlock()
	close(l.stop)
	<-l.done
	return err
}

// seconds is a duration for people.
func seconds(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
}
