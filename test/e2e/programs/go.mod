module github.com/pvrun/pvrun/test/e2e/programs

go 1.26.0

require (
	github.com/pvrun/pvrun/function v0.0.0
	golang.org/x/sys v0.49.0
)

replace github.com/pvrun/pvrun/function => ../../../function
