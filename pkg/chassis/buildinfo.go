package chassis

import "runtime/debug"

// version is set at link time: -ldflags "-X codexgateway.dev/pkg/chassis.version=v1.2.3".
var version string

// BuildInfo says which build is running.
type BuildInfo struct {
	// Version is the release, or "devel".
	Version string `json:"version"`
	// Commit is the VCS revision, with "+dirty" when the tree was changed; may be empty.
	Commit string `json:"commit,omitempty"`
	Go     string `json:"go"`
}

// Build returns the build of this binary.
func Build() BuildInfo {
	out := BuildInfo{Version: version}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return out.named()
	}
	out.Go = info.GoVersion
	if out.Version == "" && info.Main.Version != "(devel)" {
		out.Version = info.Main.Version
	}
	dirty := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			out.Commit = s.Value
		case "vcs.modified":
			dirty = s.Value == "true"
		}
	}
	if dirty && out.Commit != "" {
		out.Commit += "+dirty"
	}
	return out.named()
}

func (b BuildInfo) named() BuildInfo {
	if b.Version == "" {
		b.Version = "devel"
	}
	return b
}
