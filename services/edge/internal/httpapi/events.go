package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/munnerz/goautoneg"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/services/edge/internal/hub"
	"codexgateway.dev/services/edge/internal/methods"
	"codexgateway.dev/services/edge/internal/streams"
)

const (
	// maxWait bounds a long poll in seconds.
	maxWait = 60
	// maxSeq is the largest whole number that every client of JSON can hold.
	maxSeq = 1 << 53
	// pollEvents is how many events one long-poll answer has at most.
	pollEvents = 1000
)

var (
	errHeartbeat = errors.New("httpapi: heartbeat")
	errPollOver  = errors.New("httpapi: the wait is over")
)

const routeEvents = "/v1/jobs/{id}/events"

// serveEvents is GET /v1/jobs/{id}/events.
func (a *api) serveEvents(w http.ResponseWriter, r *http.Request) {
	form := accepted(r.Header)
	if form == "" {
		a.refuse(w, r, http.StatusNotAcceptable, errNotAccepted)
		return
	}
	w.Header().Add("Vary", "Accept")
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		a.fail(w, r, errs.Param("", "The query cannot be read."))
		return
	}
	after, err := wholeNumber(q, "after", maxSeq)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if last := strings.Join(r.Header.Values("Last-Event-ID"), ","); last != "" && form == typeSSE {
		// A browser that reconnects keeps the URL: the header is newer.
		if after, err = parseWhole("Last-Event-ID", last, maxSeq); err != nil {
			a.fail(w, r, err)
			return
		}
	}
	wait, err := wholeNumber(q, "wait", maxWait)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	j, err := a.Methods.Job(r.Context(), r.PathValue("id"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	switch {
	case form == typeSSE && j.State.Terminal() && after >= j.LastSeq:
		a.respond(w, r, http.StatusNoContent, "", nil) // so that EventSource does not come back
	case form == typeJSON && wait == 0:
		p, err := a.Methods.Page(r.Context(), j.ID, after, pollEvents)
		a.page(w, r, p, err)
	default:
		a.watch(w, r, form, j.ID, after, time.Duration(wait)*time.Second)
	}
}

// watch answers from the hub, within the bound of open streams.
func (a *api) watch(w http.ResponseWriter, r *http.Request, form, jobID string, after int64, wait time.Duration) {
	stream, ok := a.open(w, r)
	if !ok {
		return
	}
	defer stream.Close()
	events, err := a.Hub.Watch(jobID, after)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	defer events.Close()
	ctx, stop := stream.Until(r.Context())
	defer stop()
	if form == typeJSON {
		p, err := poll(ctx, events, after, wait)
		a.page(w, r, p, err)
		return
	}
	f := formats[form]
	a.stream(ctx, w, &f, events)
}

// poll waits for the next events; none is an answer too.
func poll(ctx context.Context, w *hub.Watcher, after int64, wait time.Duration) (methods.EventPage, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errPollOver)
	defer cancel()
	b, err := w.Next(ctx)
	if errors.Is(err, errPollOver) || errors.Is(err, streams.ErrDraining) || errors.Is(err, hub.ErrStopped) {
		return methods.NewPage(after, nil, false), nil
	}
	if err != nil {
		return methods.EventPage{}, err
	}
	return methods.NewPage(after, b.Events, b.Closed), nil
}

// page answers with one page, or with why there is none.
func (a *api) page(w http.ResponseWriter, r *http.Request, p methods.EventPage, err error) {
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.respond(w, r, http.StatusOK, typeJSON, p.Encode())
}

// accepted is the form of the stream the client wants: by Accept, JSON without
// one; empty if it wants none there is.
func accepted(h http.Header) string {
	accept := strings.Join(h.Values("Accept"), ",") // lines of one name are one list
	if accept == "" {
		return typeJSON
	}
	for _, clause := range goautoneg.ParseAccept(accept) {
		if clause.Q <= 0 {
			continue // which says what is not wanted
		}
		// In the order of preference among equals: */* gets JSON.
		for _, form := range []string{typeJSON, typeSSE, typeNDJSON} {
			major, minor, _ := strings.Cut(form, "/")
			if (clause.Type == "*" || clause.Type == major) && (clause.SubType == "*" || clause.SubType == minor) {
				return form
			}
		}
	}
	return ""
}

// wholeNumber reads an optional query parameter, 0 without it.
func wholeNumber(q url.Values, name string, most int64) (int64, error) {
	switch values := q[name]; len(values) {
	case 0:
		return 0, nil
	case 1:
		return parseWhole("/"+name, values[0], most)
	default:
		return 0, errs.Param("/"+name, "This parameter is given twice.")
	}
}

func parseWhole(field, s string, most int64) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || int64(n) > most {
		return 0, errs.Param(field, "This parameter must be a whole number from 0 to "+strconv.FormatInt(most, 10)+".")
	}
	return int64(n), nil
}
