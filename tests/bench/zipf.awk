# awk -v seed=S -v draws=D -v urls=U -v objects=O -v base=URL -f zipf.awk: D addresses, drawn by a
# Zipf law of exponent 0.9 from U addresses that lie evenly among O.
BEGIN {
    srand(seed)
    for (i = 1; i <= urls; i++)
        sum[i] = sum[i - 1] + i ^ -0.9
    # 7,919 is prime and odd, so that popular ones are no neighbours
    for (d = 0; d < draws; d++) {
        x = rand() * sum[urls]
        low = 1
        high = urls
        while (low < high) {
            mid = int((low + high) / 2)
            if (sum[mid] < x)
                low = mid + 1
            else
                high = mid
        }
        print base int(low * 7919 % urls * (objects / urls))
    }
}
