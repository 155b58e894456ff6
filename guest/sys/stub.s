// This file makes the compiler accept the functions of park.go, which have no
// body here: package runtime supplies them through linkname.
