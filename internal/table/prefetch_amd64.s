#include "textflag.h"

// func prefetch(addresses *uintptr, n, lines int)
TEXT ·prefetch(SB), NOSPLIT, $0-24
	MOVQ addresses+0(FP), AX
	MOVQ n+8(FP), CX
	JMP  more

address:
	MOVQ (AX), DX
	MOVQ lines+16(FP), BX

line:
	PREFETCHT0 (DX)
	ADDQ       $64, DX
	DECQ       BX
	JG         line
	ADDQ       $8, AX
	DECQ       CX

more:
	TESTQ CX, CX
	JG    address
	RET
