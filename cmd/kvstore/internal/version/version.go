// Package version is what this program was built from.
package version

import (
	"runtime"
	"runtime/debug"
)

// Info describes a build.
type Info struct {
	Version  string `json:"version"` // of the module
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitzero"` // the commit's files were changed
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Text is the version and the commit on one line.
func (i Info) Text() string {
	text := i.Version
	if i.Commit != "" {
		text += ", commit " + i.Commit
	}
	if i.Modified {
		text += " (modified)"
	}
	return text
}

// Build returns what is known about this program's build.
func Build() Info {
	r := Info{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return r
	}
	r.Version = info.Main.Version
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			r.Commit = s.Value
		case "vcs.modified":
			r.Modified = s.Value == "true"
		}
	}
	return r
}
