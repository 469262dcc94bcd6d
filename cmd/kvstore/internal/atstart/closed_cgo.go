//go:build cgo && unix

package atstart

/*
#include <fcntl.h>

static int closed[2];

// A constructor runs before Go's runtime.
__attribute__((constructor)) static void look(void) {
	for (int fd = 0; fd < 2; fd++)
		closed[fd] = fcntl(fd, F_GETFD) == -1;
}

static int was_closed(int fd) { return closed[fd]; }
*/
import "C"

// Known is whether Closed knows.
const Known = true

// Closed reports whether the standard input (0) or output (1) was closed when
// the process started.
func Closed(fd int) bool { return C.was_closed(C.int(fd)) != 0 }
