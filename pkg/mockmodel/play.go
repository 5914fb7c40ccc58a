package mockmodel

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// play writes the steps of a response after its status line. It returns when
// the response is complete, has failed as told, or the client left.
func (s *stream) play(steps []step, faults *counters) {
	s.begin()
	for _, st := range steps {
		key := faultKey{s.req.cacheKey, s.req.message, st.index}
		switch st.kind {
		case stepSay:
			if !s.message(words(st.text), 0) {
				return
			}
		case stepDeltas:
			if !s.message(counted(st.n), st.every) {
				return
			}
		case stepReasoning:
			s.reasoning(st.text)
		case stepShell, stepEscalate, stepPatch:
			s.call(st)
		case stepHang:
			<-s.ctx.Done()
			return
		case stepCut:
			if faults.due(key, st.times) {
				s.textDelta(s.openMessage(), "This message is cut ")
				panic(http.ErrAbortHandler) // net/http's way to drop the connection without a final chunk
			}
		case stepBadJSON:
			if faults.due(key, st.times) {
				s.buf.Reset()
				s.buf.WriteString("event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\n\n")
				s.flush()
				return
			}
		case stepFail:
			if faults.due(key, st.times) {
				s.fail(st.text)
				return
			}
		case stepStatus: // answered before the stream starts
		}
	}
	s.complete()
}

// call asks Codex to run a tool, in the form the offered tools want.
func (s *stream) call(st step) {
	if st.kind == stepPatch {
		switch s.req.form {
		case formFunctions:
			s.customCall("apply_patch", st.text)
		case formCode:
			s.customCall("exec", "const r = await tools.apply_patch("+quote(st.text)+"); text(JSON.stringify(r));")
		case formShellPatch:
			s.functionCall("exec_command", quote(execArgs{Cmd: "apply_patch <<'EOF'\n" + st.text + "EOF\n", YieldTimeMS: st.wait.Milliseconds()}))
		}
		return
	}
	args := execArgs{Cmd: st.text, YieldTimeMS: st.wait.Milliseconds()}
	if st.kind == stepEscalate {
		args.SandboxPermissions = "require_escalated"
		args.Justification = "The mock model was told to ask for this."
	}
	switch s.req.form {
	case formFunctions, formShellPatch:
		s.functionCall("exec_command", quote(args))
	case formCode:
		s.customCall("exec", "const r = await tools.exec_command("+quote(args)+"); text(r.output);")
	}
}

// quote is v as JSON, which is also how JavaScript writes it.
func quote(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Errorf("mockmodel: encode call: %w", err)) // strings and flat structs always encode
	}
	return string(b)
}
