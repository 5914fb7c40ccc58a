package broker

const (
	// maxName bounds the strings a scanner looks at; none it looks for is longer.
	maxName = 64
	// maxUsage bounds the usage object; it has a dozen numbers.
	maxUsage = 16 << 10
)

// scanner reads one JSON object byte by byte and keeps of it the string "type"
// and the object "response.usage". It holds a few hundred bytes, whatever it
// reads. It does not judge: of what is not JSON it finds something or nothing.
type scanner struct {
	kind  []byte // the value of "type"
	usage []byte // the bytes of "response.usage"

	depth    int // of open objects and arrays
	broken   bool
	inString bool
	escaped  bool
	text     []byte // the string being read, at the depths looked at
	// Of the two depths looked at (index 0 is not used): whether it is an object,
	// the name of its current member, and whether a name comes next.
	object   [3]bool
	name     [3]string
	nameNext bool
	keeping  bool // inside of response.usage
}

// whole reports whether exactly one object was read, to its end.
func (s *scanner) whole() bool { return s.depth == 0 && !s.broken && !s.inString && s.object[1] }

func (s *scanner) write(p []byte) {
	for _, b := range p {
		if s.keeping && len(s.usage) < maxUsage {
			s.usage = append(s.usage, b)
		}
		if s.inString {
			s.character(b)
			continue
		}
		switch b {
		case '"':
			s.inString, s.text = true, s.text[:0]
		case '{', '[':
			s.open(b == '{')
		case '}', ']':
			s.close()
		case ',':
			s.nameNext = s.looked()
		}
	}
}

// looked reports whether the members of the innermost object are looked at.
func (s *scanner) looked() bool {
	return (s.depth == 1 || s.depth == 2) && s.object[s.depth]
}

func (s *scanner) character(b byte) {
	switch {
	case s.escaped:
		s.escaped = false
	case b == '\\':
		s.escaped = true
	case b == '"':
		s.inString = false
		s.endString()
		return
	}
	if s.looked() && len(s.text) < maxName {
		s.text = append(s.text, b)
	}
}

func (s *scanner) endString() {
	switch {
	case !s.looked():
	case s.nameNext:
		s.name[s.depth], s.nameNext = string(s.text), false
	case s.depth == 1 && s.name[1] == "type":
		s.kind = append(s.kind[:0], s.text...)
	}
}

func (s *scanner) open(object bool) {
	s.broken = s.broken || s.depth == 0 && s.object[1] // a second value
	s.depth++
	switch {
	case s.depth <= 2:
		s.object[s.depth], s.name[s.depth], s.nameNext = object, "", object
	case s.depth == 3 && object && s.object[1] && s.object[2] && s.name[1] == "response" && s.name[2] == "usage":
		s.keeping, s.usage = true, append(s.usage[:0], '{')
	}
}

func (s *scanner) close() {
	if s.depth == 0 {
		s.broken = true
		return
	}
	s.depth--
	s.nameNext = false
	s.keeping = s.keeping && s.depth >= 3
}
