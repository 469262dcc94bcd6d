package tests

// This file checks what the machine can do, and runs tests in processes of
// their own.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// requireLayersEnv, set to 1, turns the skipping of tests that cannot run here
// into failures.
const requireLayersEnv = "KVSTORE_REQUIRE_LAYERS"

// missingLayer skips a test that cannot run here, and says so.
func missingLayer(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv(requireLayersEnv) == "1" {
		t.Fatalf("NOT POSSIBLE HERE, and "+requireLayersEnv+"=1: "+format, args...)
	}
	t.Skipf("SKIPPED: "+format, args...)
}

// needRoot checks for permission to mount, and for these programs.
func needRoot(t *testing.T, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		missingLayer(t, "%s must mount file systems, which takes root", t.Name())
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			missingLayer(t, "%s needs %s: %v", t.Name(), program, err)
		}
	}
}

// aloneEnv names the test that this process was started for.
const aloneEnv = "KVSTORE_ALONE"

// alone runs the calling test in a process of its own, since it changes what
// holds for a whole process. It returns true in that process.
func alone(t *testing.T) bool {
	t.Helper()
	return os.Getenv(aloneEnv) == t.Name() || runAlone(t, 0)
}

// aloneWithMounts is alone with private mounts, which end with the process
// however that ends.
func aloneWithMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(aloneEnv) == t.Name() {
		return true
	}
	needRoot(t)
	return runAlone(t, syscall.CLONE_NEWNS)
}

// runAlone runs the test in another process and adopts its result. It returns
// false.
func runAlone(t *testing.T, unshare uintptr) bool {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // Pdeathsig looks at the thread
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(t.Context(), program, "-test.v", "-test.count=1",
		"-test.run=^"+regexp.QuoteMeta(t.Name())+"$",
		fmt.Sprintf("-test.short=%t", testing.Short()))
	cmd.Env = append(os.Environ(), aloneEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unshare, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	switch output := string(out); {
	case unshare != 0 && (errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS)):
		missingLayer(t, "%s needs a mount namespace: %v", t.Name(), err)
	case err != nil:
		t.Fatalf("in a process of its own: %v\n%s", err, output)
	case strings.Contains(output, "--- SKIP: "+t.Name()):
		_, why, _ := strings.Cut(output, "SKIPPED: ")
		why, _, _ = strings.Cut(why, "\n")
		missingLayer(t, "%s", why)
	case !strings.Contains(output, "--- PASS: "+t.Name()):
		t.Fatalf("the process of its own has not run the test:\n%s", output)
	default:
		t.Logf("in a process of its own:\n%s", output)
	}
	return false
}

// runTool runs a program and returns its output.
func runTool(t *testing.T, name string, args ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), crashTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	output = strings.TrimSpace(string(out))
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, output)
	}
	return output, err
}
