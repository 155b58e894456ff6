package hypercall

// MainText is here to be imported.
const MainText = "main"
