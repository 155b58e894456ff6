module github.com/pvrun/pvrun/test/function/programs

go 1.26.0

require github.com/pvrun/pvrun/function v0.0.0

replace github.com/pvrun/pvrun/function => ../../../function
