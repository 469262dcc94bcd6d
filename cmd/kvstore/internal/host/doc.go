// Package host is what the command needs to know about the machine. Linux gives
// exact answers; other systems give the nearest ones that Go has.
package host
