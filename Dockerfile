# pixnet-sd on a CPU:  docker build -t pixnet-sd . && docker run -v "$PWD:/data" -w /data pixnet-sd info slide.zarr
FROM python:3.12-slim
COPY . /src
WORKDIR /src
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir ".[io]"
ENTRYPOINT ["pixnet-sd"]
