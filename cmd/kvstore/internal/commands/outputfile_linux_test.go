package commands

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kvstore"
)

// writers are the commands that write a file: arguments before its name.
var writers = map[string][]string{
	"dump":         {"dump"},
	"dump sorted":  {"dump", "--sorted"},
	"backup":       {"backup"},
	"bench --plot": {"bench", "--tmpfs", "--keys", "10", "--writers", "1", "--duration", "1ms", "--plot"},
}

// runWriter runs a writer in this process and returns its exit code and its
// messages.
func runWriter(t *testing.T, args []string, data, file string) (code int, messages string) {
	t.Helper()
	var stderr bytes.Buffer
	code = Run(append(append([]string{"--dir", data}, args...), file), nil, io.Discard, &stderr)
	return code, stderr.String()
}

// newData makes a small store.
func newData(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	store, err := kvstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.Set("a", []byte("1")), store.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestOutputFiles: what a file was, its replacement is: the mode, the owner,
// the target of links. What is no regular file, or cannot be replaced, is
// written in place.
func TestOutputFiles(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o027))
	root := os.Getuid() == 0
	old := func(name string, mode fs.FileMode) error {
		return errors.Join(os.WriteFile(name, []byte("old"), 0o600), os.Chmod(name, mode))
	}
	for name, c := range map[string]struct {
		prepare func(file string) error
		check   func(t *testing.T, file string)
		root    bool // needed
	}{
		"new": {
			func(string) error { return nil },
			func(t *testing.T, file string) { checkFile(t, file, 0o640) },
			false,
		},
		"mode": {
			func(file string) error { return old(file, 0o664) },
			func(t *testing.T, file string) { checkFile(t, file, 0o664) },
			false,
		},
		"special bits": {
			func(file string) error { return old(file, 0o755|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) },
			func(t *testing.T, file string) {
				checkFile(t, file, 0o755|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)
			},
			false,
		},
		"private": {
			func(file string) error { return old(file, 0o400) },
			func(t *testing.T, file string) { checkFile(t, file, 0o400) },
			false,
		},
		"owner": {
			func(file string) error { return errors.Join(old(file, 0o644), os.Chown(file, 1234, 2345)) },
			func(t *testing.T, file string) {
				checkFile(t, file, 0o644)
				info, err := os.Stat(file)
				if owner := info.Sys().(*syscall.Stat_t); err != nil || owner.Uid != 1234 || owner.Gid != 2345 {
					t.Errorf("owner %d:%d, %v", owner.Uid, owner.Gid, err)
				}
			},
			true,
		},
		"link": {
			func(file string) error {
				return errors.Join(old(file+".target", 0o604), os.Symlink(filepath.Base(file)+".target", file))
			},
			func(t *testing.T, file string) {
				checkLink(t, file)
				checkFile(t, file+".target", 0o604)
			},
			false,
		},
		"dangling link": {
			func(file string) error {
				return errors.Join(os.Symlink(filepath.Base(file)+".2", file), os.Symlink(file+".3", file+".2"))
			},
			func(t *testing.T, file string) {
				checkLink(t, file)
				checkLink(t, file+".2")
				checkFile(t, file+".3", 0o640)
			},
			false,
		},
		"link out of a linked directory": {
			func(file string) error {
				dir := filepath.Dir(file)
				return errors.Join(
					os.MkdirAll(dir+"/deep/er", 0o700), os.Symlink("deep/er", dir+"/short"),
					os.Symlink("../target", dir+"/deep/er/x"), os.Symlink("short/x", file),
				)
			},
			func(t *testing.T, file string) { checkFile(t, filepath.Dir(file)+"/deep/target", 0o640) },
			false,
		},
		"hard link": {
			func(file string) error { return errors.Join(old(file+".other", 0o644), os.Link(file+".other", file)) },
			func(t *testing.T, file string) { // the other name keeps the old file
				checkFile(t, file, 0o644)
				if text, err := os.ReadFile(file + ".other"); string(text) != "old" {
					t.Errorf("the other link has %.20q, %v", text, err)
				}
			},
			false,
		},
		"mounted": {
			func(file string) error {
				return errors.Join(os.WriteFile(file+".source", bytes.Repeat([]byte("old"), 1e6), 0o600),
					old(file, 0o644), syscall.Mount(file+".source", file, "", syscall.MS_BIND, ""))
			},
			func(t *testing.T, file string) {
				if err := syscall.Unmount(file, 0); err != nil {
					t.Error(err)
				}
				checkFile(t, file+".source", 0o600)
			},
			true,
		},
		"long name": {
			func(file string) error { return os.Symlink(strings.Repeat("x", 255), file) },
			func(t *testing.T, file string) { checkFile(t, filepath.Dir(file)+"/"+strings.Repeat("x", 255), 0o640) },
			false,
		},
	} {
		if c.root && !root && os.Getenv("KVSTORE_REQUIRE_LAYERS") == "" {
			t.Logf("SKIPPED: %s needs root", name)
			continue
		}
		for command, args := range writers {
			t.Run(name+", "+command, func(t *testing.T) {
				data, file := newData(t), filepath.Join(t.TempDir(), "file.svg")
				if err := c.prepare(file); err != nil {
					t.Fatal(err)
				}
				if code, messages := runWriter(t, args, data, file); code != exitDone || messages != "" {
					t.Errorf("exit code %d: %s", code, messages)
				}
				c.check(t, file)
				if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*.tmp")); err != nil || len(left) > 0 {
					t.Errorf("%q is left, %v", left, err)
				}
			})
		}
	}
}

// checkFile fails the test unless a file is one that a writer has written, and
// has a mode.
func checkFile(t *testing.T, name string, mode fs.FileMode) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	whole := bytes.HasSuffix(text, []byte("}\n")) || bytes.HasSuffix(text, []byte("</svg>\n")) ||
		bytes.HasPrefix(text, []byte("KVSP"))
	if !whole || bytes.Contains(text, []byte("old")) {
		t.Errorf("%s has %.30q … in %d bytes", name, text, len(text))
	}
	if info, err := os.Stat(name); err != nil || info.Mode() != mode {
		t.Errorf("%s: mode %v, %v; want %v", name, info.Mode(), err, mode)
	}
}

func checkLink(t *testing.T, name string) {
	t.Helper()
	if info, err := os.Lstat(name); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("%s is no link: %v, %v", name, info.Mode(), err)
	}
}

// TestOutputOpenFiles: an open file of the shell is written where the shell
// left it: what was there before stays.
func TestOutputOpenFiles(t *testing.T) {
	data := newData(t)
	const line = `{"key":"a","value":"1"}` + "\n"
	for script, want := range map[string]string{
		`kvstore dump /dev/stdout >> app`:                            "old\n" + line,
		`kvstore dump - >> app`:                                      "old\n" + line,
		`kvstore dump /proc/self/fd/1 >> app`:                        "old\n" + line,
		`kvstore dump /dev/fd/3 3>> app`:                             "old\n" + line,
		`kvstore dump /dev/stderr 2>> app`:                           "old\n" + line,
		`ln -s /dev/stdout l; kvstore dump l >> app`:                 "old\n" + line,
		`{ kvstore dump /dev/stdout; echo new; } > app`:              line + "new\n",
		`kvstore dump /dev/stdout | cat > app`:                       line,
		`kvstore dump /dev/fd/9 9>&-; kvstore dump > app`:            line,
		`mkfifo f; cat f > app & kvstore dump f; wait`:               line,
		`kvstore dump app/x; true`:                                   "old\n",
		`kvstore dump /dev/null; kvstore dump /dev/full; :`:          "old\n",
		`kvstore -d none dump app; kvstore -d none backup app; true`: "old\n",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "app"), []byte("old\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), dirEnv+"="+data)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", script, err, out)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "app")); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v; want %q", script, text, err, want)
		}
	}
}

// TestOutputFailsEarly: that a file cannot be written is reported before the
// store is opened, which may take long.
func TestOutputFailsEarly(t *testing.T) {
	dir, _ := smallDisk(t, 1<<20)
	file := filepath.Join(dir, "file.svg")
	if err := errors.Join(
		os.WriteFile(file, []byte("old"), 0o600), os.Mkdir(filepath.Join(dir, "dir.svg"), 0o700),
		os.Symlink("loop.svg", filepath.Join(dir, "loop.svg")),
		syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""),
	); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		file: unix.EROFS, filepath.Join(dir, "new.svg"): unix.EROFS, filepath.Join(dir, "dir.svg"): unix.EISDIR,
		filepath.Join(dir, "loop.svg"): unix.ELOOP, filepath.Join(t.TempDir(), "none", "x.svg"): unix.ENOENT,
		filepath.Join(file, "x.svg"): unix.ENOTDIR, "/dev/full/x.svg": unix.ENOTDIR, "/dev/fd/77": unix.EBADF,
	} {
		for command, args := range writers {
			if command == "bench --plot" && filepath.Ext(name) != ".svg" {
				continue
			}
			data := filepath.Join(dir, "no store")
			if command == "bench --plot" {
				data = t.TempDir()
			}
			code, messages := runWriter(t, args, data, name)
			if code != exitIO || !strings.Contains(messages, want.Error()) || strings.Contains(messages, "no store") {
				t.Errorf("%s %s: exit code %d, %q; want %q", command, name, code, messages, want)
			}
		}
	}
}

// TestReplaceable: that a file must not be replaced is reported at once, and
// changes nothing.
func TestReplaceable(t *testing.T) {
	if os.Getuid() != 0 {
		missingLayer(t, "needs root")
	}
	const user, file = 1234, "file"
	for name, c := range map[string]struct {
		dir   fs.FileMode
		owner int // of the file
		want  string
	}{
		"of the user":                             {0o777, user, ""},
		"of another":                              {0o777, 0, ""},
		"of the user, in a directory as /tmp":     {0o777 | fs.ModeSticky, user, ""},
		"of another, in a directory as /tmp":      {0o777 | fs.ModeSticky, 0, "operation not permitted"},
		"of the user, in another's own directory": {0o755, user, "permission denied; write to - and redirect"},
	} {
		t.Chdir(t.TempDir()) // whose path the user may not follow
		if err := errors.Join(os.WriteFile(file, []byte("old"), 0o600), os.Chmod(file, 0o666),
			os.Chown(file, c.owner, -1), os.Chmod(".", c.dir)); err != nil {
			t.Fatal(err)
		}
		wantOutput(t, name, file, user, c.want)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := map[string]int{"immutable": unix.STATX_ATTR_IMMUTABLE, "append-only": unix.STATX_ATTR_APPEND}
	for name, flag := range flags {
		reset := addFlag(t, file, flag)
		wantOutput(t, name, file, 0, "operation not permitted")
		reset()
		wantOutput(t, name+" no more", file, 0, "")
	}
}

// wantOutput prepares an output file as a user, and compares the error.
func wantOutput(t *testing.T, name, file string, user int, want string) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	root, _ := unix.SetfsuidRetUid(user) // for this thread
	_, err := newApp(nil, io.Discard, io.Discard).output(file)
	_, _ = unix.SetfsuidRetUid(root)
	if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", name, err, want)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if text, readErr := os.ReadFile(file); string(text) != "old" || len(entries) != 1 {
		t.Errorf("%s: %v, %q, %v, %v", name, entries, text, err, readErr)
	}
}

// addFlag gives a file an attribute, as chattr does, and returns a function
// that takes it away. The file's other attributes stay: ext4 takes the absence
// of some for a wish to convert the file.
func addFlag(t *testing.T, name string, flag int) (reset func()) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|flag)
	}
	switch {
	case errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP):
		missingLayer(t, "no attributes of files: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	reset = func() {
		if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(reset) // or the file could not be removed
	return reset
}
