#include "textflag.h"

// func prefetch(addresses *uintptr, n, lines int)
TEXT ·prefetch(SB), NOSPLIT, $0-24
	MOVD addresses+0(FP), R0
	MOVD n+8(FP), R1
	B    more

address:
	MOVD.P 8(R0), R2
	MOVD   lines+16(FP), R3

line:
	PRFM (R2), PLDL1KEEP
	ADD  $64, R2
	SUBS $1, R3
	BGT  line
	SUB  $1, R1

more:
	CMP $0, R1
	BGT address
	RET
